"""DICOM objects that tell a PACS what Auscult found.

In: a study's result and the header of the film that decided it. Out: data sets to be stored: a structured report and a
picture of the evidence. May import: `header`. highdicom is imported here alone, when a report is made.
"""
