"""Einstein sums, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(19)
B, D, H, S = (symbol(name) for name in "BDHS")
SIZES = dict(zip("abcdefghijk", (2, 3, 4, 5, 2, 3, 2, 3, 4, 5, 2), strict=True))

EQUATIONS = [
    "ij->ji",
    "ij->",
    "ij->j",
    "ii->i",
    "ii",
    "iij->j",
    "ba",
    "ij,jk->ik",
    "ij,jk",
    "ij , jk -> ki",
    "i,j->ij",
    "ij,ij->ij",
    "ij,ij->",
    "i,i",
    "ab,b->a",
    "abcd,abed->abce",
    "abcd,acdj->bj",
    "abc,abd->cd",
    "abc,d->ad",
    "aab,bc->ac",
    "ij,jk,kd->id",
    "ij,jk,kd->",
    "a,b,c->cba",
    "ijk,jk,k->i",
    "ab,cd->db",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_like_numpy(equation: str) -> None:
    terms = equation.replace(" ", "").split("->")[0].split(",")
    xs = [RNG.standard_normal([SIZES[c] for c in term]) for term in terms]
    (y,) = run_ours("einsum", *xs, equation=equation)
    np.testing.assert_allclose(y, np.einsum(equation, *xs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(7, 2, 3, 4), (7, 2, 4, 5)]),
        ("...ij,...jk->...ik", [(7, 1, 3, 4), (2, 4, 5)]),
        ("...ij,jk", [(2, 7, 3, 4), (4, 5)]),
        ("i...,i...->...", [(3, 2, 4), (3, 4)]),
        ("...i->...", [(3, 2, 4)]),
        ("b...d->d...b", [(3, 2, 5, 4)]),
        ("...,...", [(3, 1), (4,)]),
    ],
)
def test_ellipsis(equation: str, shapes: list[tuple[int, ...]]) -> None:
    xs = [RNG.standard_normal(s) for s in shapes]
    (y,) = run_ours("einsum", *xs, equation=equation)
    np.testing.assert_allclose(y, np.einsum(equation, *xs), rtol=1e-12, atol=1e-12)


def test_ellipsis_that_is_summed() -> None:
    x, y = RNG.standard_normal((5, 3, 4)), RNG.standard_normal((1, 4, 2))
    (z,) = run_ours("einsum", x, y, equation="...ij,...jk->ik")
    np.testing.assert_allclose(z, (x @ y).sum(0), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_dtypes(dtype: str) -> None:
    x, y = RNG.integers(0, 5, (3, 4)).astype(dtype), RNG.integers(0, 5, (4, 5)).astype(dtype)
    np.testing.assert_array_equal(run_ours("einsum", x, y, equation="ij,jk->ik")[0], x @ y)
    np.testing.assert_array_equal(run_ours("einsum", x, equation="ij->j")[0], x.sum(0))


def test_like_ort() -> None:
    q, k = (
        RNG.standard_normal((2, 5, 3, 8)).astype(np.float32),
        RNG.standard_normal((2, 6, 3, 8)).astype(np.float32),
    )
    (expected,) = run_ort("Einsum", [q, k], {"equation": "bqhd,bkhd->bhqk"})
    np.testing.assert_allclose(run_ours("einsum", q, k, equation="bqhd,bkhd->bhqk")[0], expected, rtol=1e-5, atol=1e-6)


def test_symbolic_shapes() -> None:
    q = tensor("f32", B, S, H, D)
    assert infer("einsum", q, q, equation="bqhd,bkhd->bhqk").types[0].shape == (B, H, S, S)
    assert infer("einsum", q, q, equation="...d,...d->...").types[0].shape == (B, S, H)
    (requirement,) = infer("einsum", q, tensor("f32", 64, 8), equation="bshd,de->bshe").requirements
    assert {str(requirement.relation.left), str(requirement.relation.right)} == {"D", "64"}


@pytest.mark.parametrize(
    ("equation", "code", "message"),
    [
        ("ij->i", "E0304", "for 1 tensors, not 2"),
        ("ij,jkl->i", "E0304", "does not fit a tensor of rank 2"),
        ("ij,jk->ijz", "E0304", "no tensor"),
        ("ij,jk->ii", "E0304", "names an axis twice"),
        ("i1,jk->i", "E0304", "not a term"),
        ("ij,jk->i..k", "E0304", "not a term"),
        ("ij,jk->...->k", "E0304", "not a term"),
        ("ij,ik->jk", "E0312", "sizes of `i`"),
    ],
)
def test_failures(equation: str, code: str, message: str) -> None:
    with pytest.raises(InferFailure, match=message) as failure:
        infer("einsum", tensor("f32", 3, 4), tensor("f32", 4, 5), equation=equation)
    assert failure.value.code == code
