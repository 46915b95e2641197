"""TensorBoard's event files, under `tensorboard/` in the run folder: tensorboard --logdir RUNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from launcher.trackers import Run


class EventFiles:
    def __init__(self, run: Run) -> None:
        self._writer = EventFileWriter(str(run.folder.path / "tensorboard"))
        if "begun" not in run.kept:
            self._add(_settings(run), 0)
            run.kept["begun"] = True

    def log(self, step: int, values: Mapping[str, float]) -> None:
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Summary(value=scalars), step)

    def event(self, event: Mapping[str, Any]) -> None:
        pass

    def flush(self) -> None:
        self._writer.flush()

    def close(self, state: str) -> None:
        self._writer.close()

    def _add(self, summary: Summary, step: int) -> None:
        # No wall time of ours: the writer's event is stamped when it is written, as TensorBoard expects.
        self._writer.add_event(Event(step=step, summary=summary))


begin = EventFiles


def _settings(run: Run) -> Summary:
    """The parameters, as TensorBoard's page of hyper-parameters reads them (its own writer needs TensorFlow)."""
    about = SessionStartInfo(group_name=run.name)
    for key, value in {**run.parameters, **run.tags}.items():
        if isinstance(value, bool):
            about.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            about.hparams[key].number_value = value
        else:
            about.hparams[key].string_value = str(value)
    content = HParamsPluginData(session_start_info=about, version=metadata.PLUGIN_DATA_VERSION).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content)
    tag = metadata.SESSION_START_INFO_TAG
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
