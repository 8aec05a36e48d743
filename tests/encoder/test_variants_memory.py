"""Memory of each variant on the longest protein of the field's hardest file, in a process of its own: linear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.encoder.test_memory import RETURNING, measure

LONGEST = 35_213
SCRIPT = """
from protea_ray.config.attention_forms import attention_variant
from protea_ray.encoder.variants import attend_variant

def more(length):
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 20, length, 16, generator=draw) for _ in range(3))
    with torch.inference_mode():
        return peak(lambda: attend_variant(attention_variant("FORM"), None, 1, q, k, v, 0.25))

more(500)  # kernels are chosen
print(json.dumps({"more": more(LENGTH)}))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["global:512", "bigbird:64,3,1,3,0", "nystrom:64", "favor:128,0"])
def test_memory_grows_with_length_alone(form: str, tmp_path: Path) -> None:
    """One layer of ESM-2 8M, 20 heads of 16: 1,280 bytes a token for the output, which is there twice for a moment."""
    half, whole = (
        measure(SCRIPT.replace("FORM", form).replace("LENGTH", str(length)), tmp_path, **RETURNING)["more"]
        for length in (LONGEST // 2, LONGEST)
    )  # each in a process of its own, because pages that are kept from one hide the growth of the other
    assert whole < 6_000 * LONGEST
    assert 1.8 < whole / half < 2.2
