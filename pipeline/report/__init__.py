"""The report of a cover: an HTML page and JSON that say whether it is good, and if not, which stage to blame."""

from pipeline.report.inputs import ReportInputs as ReportInputs
from pipeline.report.make import make_report as make_report
