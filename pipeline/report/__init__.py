"""The report of a cover: an HTML page and JSON that say whether it is good, and if not, which stage to blame."""

from pipeline.report.assessment import Assessment as Assessment
from pipeline.report.inputs import AssessInputs as AssessInputs
from pipeline.report.inputs import ReportInputs as ReportInputs
from pipeline.report.listen import assess as assess
from pipeline.report.make import make_report as make_report
