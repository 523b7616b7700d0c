# The program with the versions of requirements.lock. From the project's root:
#     docker build -t gan-study .
#     docker run --rm -v "$PWD/results:/study/results" gan-study                                  # the demo
#     docker run --rm --gpus all -v "$PWD/results:/study/results" -v "$PWD/my_study.yaml:/study/my_study.yaml" -v /folder/of/scans:/scans \
#         gan-study snakemake --cores 8 --resources gpu=1 --configfile my_study.yaml -- all
# Not tried yet: no test runs Docker; this image has been built nowhere. The CUDA kernels need a compiler that it does not have, so
# training on a GPU uses PyTorch's functions.
FROM python:3.11-slim

WORKDIR /study
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --editable .

CMD ["snakemake", "--cores", "2", "--configfile", "demo.yaml", "--", "all"]
