"""Write a file of every kind into a folder, which is the only argument."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from synthetic_survey import diagnosis, survey

from lcd.agents import EncoderPolicy, parse_encoder, save_backbone, save_policy
from lcd.analyses.replay_film import write_film
from lcd.analyses.report import write_report
from lcd.envs import ProcgenOptions
from lcd.envs.family import policy_spaces
from lcd.io.files import replacing
from lcd.studies.output import OutputFolder, save_figure
from lcd.studies.replay import record
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.taxonomy import Taxonomy


def write_everything(out: Path) -> None:
    taxonomy = Taxonomy(SurveyTables.of(survey({(0.02, 0.01): 3, (0.1, 0.42): 4})))
    taxonomy.tables.write(out / "tables")
    OutputFolder(out / "diagnosis").write(diagnosis("maze", 0.1, 0.2))
    OutputFolder(out / "taxonomy").write_results(taxonomy.as_tables(), {})
    for kind in ("pdf", "png", "svg"):
        save_figure(taxonomy.plot(), out / f"map.{kind}")
    write_report(taxonomy, out / "report.html")
    torch.manual_seed(0)
    frames, actions = policy_spaces(ProcgenOptions("maze"), "pixels")
    policy = EncoderPolicy(frames, actions, lambda left: 1e-3, encoder="small")
    with replacing(out / "replay.gif") as path:
        write_film(record(policy, ProcgenOptions("maze"), max_steps=8), path)
    save_policy(policy, out / "policy.safetensors", {"game": "maze"})
    kind, arguments = parse_encoder("small")
    torch.manual_seed(0)
    save_backbone(kind(frames, **arguments), out / "encoder.safetensors", "small", {"objective": "none"})


if __name__ == "__main__":
    write_everything(Path(sys.argv[1]))
