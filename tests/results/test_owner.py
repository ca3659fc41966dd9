"""One user's results folder is not written by another's sweep, and a sweep moves between folders whole."""

import io
import tarfile
from pathlib import Path

import pytest
from result_examples import sweep_row

from searcher.errors import NothingFoundError, ResultsError
from searcher.results.owner import claim
from searcher.results.store import Store
from searcher.results.transfer import export_sweep, import_sweep


@pytest.mark.parametrize("place", ["local_root", "s3_root"])
def test_a_folder_belongs_to_whom_claimed_it_first(place: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(place)
    claim(root, "anna")
    claim(root, "anna")
    with pytest.raises(ResultsError, match=f"{root} belongs to anna; .* such as {root}-bob"):
        claim(root, "bob")


def test_what_is_not_there_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match="no sweep 'absent'"):
        export_sweep(str(tmp_path), "absent", io.BytesIO())


@pytest.mark.parametrize(
    "name", ["../evil", "trials/sweep=other/strategy=a/x.parquet", "trials/sweep=a/../../x", "x"]
)
def test_a_parcel_with_foreign_files_is_refused(tmp_path: Path, name: str) -> None:
    parcel = io.BytesIO()
    with tarfile.open(fileobj=parcel, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    parcel.seek(0)
    with pytest.raises(ResultsError, match="none of its files"):
        import_sweep(str(tmp_path / "results"), "a", parcel)
    assert not (tmp_path / "results").exists()


def test_a_sweep_that_came_again_is_replaced_and_another_of_its_name_is_not(tmp_path: Path) -> None:
    parcels = []
    for name in ("one", "other"):
        with Store(tmp_path / name).begin(sweep_row("a")):
            pass
        parcels.append(io.BytesIO())
        export_sweep(str(tmp_path / name), "a", parcels[-1])
    one, other = parcels
    for _ in range(2):
        one.seek(0)
        import_sweep(str(tmp_path / "here"), "a", one)
    other.seek(0)
    with pytest.raises(ResultsError, match="here holds another sweep 'a', begun at another time"):
        import_sweep(str(tmp_path / "here"), "a", other)
    assert Store(tmp_path / "here").sweeps() == ["a"]
