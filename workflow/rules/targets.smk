# Every variant and every data set of the study is a target by its name: its cells, trained and scored. Not the tables, which would ask
# for every other cell too. A rule comes before a file, so a folder of that name is no target.
try:
    BY_NAME = STUDY.targets(rule.name for rule in workflow.rules)
except GanError as error:
    sys.exit(f"error: {error}")


for target, cells in BY_NAME.items():

    rule:
        name:
            target
        input:
            rules.baselines.output,
            [path for cell in cells for path in results(cell)],
        localrule: True
