"""Step 5: decide whether the network may judge a film, and which flags its answer carries.

In: the facts of the header, then statistics of the film, then the network's own doubt. Out: a verdict with reason
codes. May import: `header`, `pixels` and the top modules of `dicom_io`.
"""
