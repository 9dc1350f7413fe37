"""Events of a training job by the package openlineage-python: openlineage_events.py FILE ROOT,
or openlineage_events.py URL ROOT TOKEN [gzip] to send them to a server.
A facet of ours says which seal its input has; everything else is as the package writes it."""

import sys
import uuid
from datetime import datetime, timezone

import attr
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import (
    DatasetEvent, InputDataset, Job, JobEvent, OutputDataset, Run, RunEvent, RunState, StaticDataset,
)
from openlineage.client.facet_v2 import (
    DatasetFacet, dataset_type_dataset, dataset_version_dataset, nominal_time_run, parent_run, schema_dataset,
)
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport

path, root, *more = sys.argv[1:]
PRODUCER = "https://example.com/trainer"


@attr.define
class Seal(DatasetFacet):
    root: str = ""
    algorithm: str = "sha256"
    rows: int = 0

    @staticmethod
    def _get_schema():
        return "https://example.com/pavise_seal.json"


if more:
    config = {"url": path, "auth": {"type": "api_key", "apiKey": more[0]}, "retry": {"total": 0}}
    if "gzip" in more:
        config["compression"] = "gzip"
    transport = HttpTransport(HttpConfig.from_dict(config))
else:
    transport = FileTransport(FileConfig(log_file_path=path, append=True))
client = OpenLineageClient(transport=transport)
now = lambda: datetime.now(timezone.utc).isoformat()
run = Run(str(uuid.uuid4()), {
    "parent": parent_run.ParentRunFacet(run=parent_run.Run(str(uuid.uuid4())), job=parent_run.Job("airflow", "dag")),
    "nominalTime": nominal_time_run.NominalTimeRunFacet("2026-11-27T00:00:00Z"),
})
job = Job("airflow", "dag.train")
flows = InputDataset("s3://lake", "flows", {
    "pavise_seal": Seal(root=root, rows=3),
    "version": dataset_version_dataset.DatasetVersionDatasetFacet("v7"),
    "schema": schema_dataset.SchemaDatasetFacet([schema_dataset.SchemaDatasetFacetFields("a", "int")]),
})
model = OutputDataset("mlflow", "fraud", facets={"datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("MODEL")})
client.emit(RunEvent(eventType=RunState.START, eventTime=now(), run=run, job=job, producer=PRODUCER, inputs=[flows], outputs=[]))
client.emit(RunEvent(eventType=RunState.COMPLETE, eventTime=now(), run=run, job=job, producer=PRODUCER, inputs=[flows], outputs=[model]))
client.emit(JobEvent(eventTime=now(), job=job, producer=PRODUCER, inputs=[flows], outputs=[model]))
client.emit(DatasetEvent(eventTime=now(), producer=PRODUCER, dataset=StaticDataset("s3://lake", "flows")))
