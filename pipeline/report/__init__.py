"""The report of a cover: an HTML page and JSON that say whether it is good, and if not, which stage to blame."""

from understudy.pipeline.report.assess_parts import AssessInputs as AssessInputs
from understudy.pipeline.report.assess_parts import assess as assess
from understudy.pipeline.report.assessment import Assessment as Assessment
from understudy.pipeline.report.figures import ReportInputs as ReportInputs
from understudy.pipeline.report.make import make_report as make_report
