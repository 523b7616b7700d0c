# Every variant and every data set of the study is a target by its name: its cells, trained and scored. Not the tables, which would ask
# for every other cell too. A rule comes before a file, so a folder of that name is no target.
from gan.targets import asked_of, check_targets

ASKED = asked_of(sys.argv) if workflow.is_main_process else {"": []}
try:
    RULES = [rule.name for rule in workflow.rules]
    BY_NAME = STUDY.targets(RULES)
    check_targets(STUDY, ASKED, [*RULES, *BY_NAME])
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
