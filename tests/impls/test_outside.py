"""Files, modules and installed packages register implementations of their own."""

import pickle
import sys

import pytest

from lossbench import impls
from lossbench.impls.outside import (
    Origin,
    loaded,
    origin_of,
    register_again,
    register_from,
    register_installed,
)
from tests.makers.outside import MINE, install, registry_kept, write_contender

YOURS = MINE.replace("mine", "yours")


@pytest.fixture(autouse=True)
def _registry():
    with registry_kept():
        yield


def test_a_file_registers_and_its_origin_is_kept(tmp_path):
    file = write_contender(tmp_path)
    origin = register_from(file)
    assert origin == origin_of("arcface", "mine")
    assert origin.source == str(file)
    assert len(origin.sha256) == 64
    assert origin_of("arcface", "fused") is None
    assert loaded() == (origin,)


def test_compiled_variants_have_their_origin_too(tmp_path):
    code = MINE.replace('"mine"', '"mine", compiles=True')
    origin = register_from(write_contender(tmp_path, code=code))
    assert origin_of("arcface", "mine+compile") == origin


def test_a_file_is_imported_once(tmp_path):
    file = write_contender(tmp_path)
    assert register_from(file) is register_from(file.parent / ".." / "my dir" / "mine.py")


def test_two_files_of_one_name_do_not_clash(tmp_path):
    (tmp_path / "other").mkdir()
    register_from(write_contender(tmp_path))
    register_from(write_contender(tmp_path / "other", code=YOURS))
    mine, yours = (impls.implementation("arcface", name).builder for name in ("mine", "yours"))
    assert mine.__module__ != yours.__module__


def test_what_a_file_defines_can_be_pickled(tmp_path):
    register_from(write_contender(tmp_path))
    builder = impls.implementation("arcface", "mine").builder
    assert pickle.loads(pickle.dumps(builder)) is builder


def test_a_file_may_import_what_stands_beside_it(tmp_path):
    write_contender(tmp_path, "acme_beside.py", MINE)
    file = write_contender(tmp_path, "both.py", f"import acme_beside\n{YOURS}")
    origin = register_from(file)
    assert origin_of("arcface", "mine") == origin_of("arcface", "yours") == origin


def test_a_file_that_changed_is_not_taken_for_the_former(tmp_path):
    file = write_contender(tmp_path)
    origin = register_from(file)
    file.write_text(YOURS)
    with pytest.raises(ValueError, match="has changed since it was imported"):
        register_from(file)
    # The code that this process imported before still matches its origin.
    register_again([origin])


def test_another_process_refuses_what_has_changed(tmp_path):
    file = write_contender(tmp_path)
    former = Origin(str(file), "0" * 64)
    with pytest.raises(ValueError, match=r"has changed: expected .* sha256 000000000000; got"):
        register_again([former])


def test_what_fails_halfway_registers_nothing(tmp_path):
    file = write_contender(tmp_path, code=f"{MINE}\nraise RuntimeError('halfway')")
    with pytest.raises(ValueError, match="line 10: RuntimeError: halfway"):
        register_from(file)
    assert "mine" not in [each.variant for each in impls.implementations("arcface")]
    assert loaded() == ()


def test_a_module_is_found_in_the_current_folder(tmp_path, monkeypatch):
    write_contender(tmp_path, "acme_here.py")
    monkeypatch.chdir(tmp_path / "my dir")
    origin = register_from("acme_here")
    assert (origin.source, origin.is_file) == ("acme_here", False)
    assert origin_of("arcface", "mine") == origin


def test_an_installed_package_registers_by_its_entry_point(tmp_path):
    file = write_contender(tmp_path, "acme_losses.py")
    install(file.parent, "acme-losses", {"mine": "acme_losses"})
    sys.path.append(str(file.parent))
    assert register_installed() == []
    assert origin_of("arcface", "mine").distribution == "acme-losses 1.2"
    assert str(origin_of("arcface", "mine")).startswith("acme_losses, acme-losses 1.2, sha256 ")


def test_two_entry_points_of_a_package_whose_top_imports_both(tmp_path):
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").write_text("from acme import mine, yours\n")
    (package / "mine.py").write_text(MINE)
    (package / "yours.py").write_text(YOURS)
    install(tmp_path, "acme", {"mine": "acme.mine", "yours": "acme.yours"})
    sys.path.append(str(tmp_path))
    assert register_installed() == []
    assert origin_of("arcface", "mine").distribution == "acme 1.2"
    assert origin_of("arcface", "yours").distribution == "acme 1.2"


def test_a_broken_entry_point_is_told_and_the_others_register(tmp_path):
    write_contender(tmp_path, "acme_broken.py", f"{MINE}\n1 / 0")
    file = write_contender(tmp_path, "acme_whole.py", YOURS)
    points = {
        "broken": "acme_broken",
        "missing": "acme_missing",
        "odd": "a b!",
        "whole": "acme_whole",
    }
    install(file.parent, "acme", points)
    sys.path.append(str(file.parent))
    broken, missing, odd = register_installed()
    assert broken.startswith("the entry point broken of lossbench.implementations: acme_broken: ")
    assert broken.endswith("ZeroDivisionError: division by zero")
    assert missing.endswith("acme_missing: no such file or module")
    assert odd.endswith("a b!: no such file or module")
    assert {origin.source for origin in loaded()} == {"acme_whole"}
    assert "mine" not in [each.variant for each in impls.implementations("arcface")]


def test_an_error_that_cannot_be_printed_is_told(tmp_path):
    code = "class Odd(Exception):\n    def __str__(self):\n        raise self\nraise Odd"
    with pytest.raises(ValueError, match="line 4: Odd: <exception str"):
        register_from(write_contender(tmp_path, code=code))


@pytest.mark.parametrize("name", ["", "..", "a..b", "x" * 5000])
def test_a_name_that_is_no_modules_is_told(name):
    with pytest.raises(ValueError, match=r"no such file or module$"):
        register_from(name)


@pytest.mark.parametrize("name", ["a\0b.py", f"{'x' * 5000}.py"])
def test_a_path_that_cannot_be_is_told(name):
    with pytest.raises(ValueError, match=r"; expected a Python file or a module$"):
        register_from(name)


def test_every_way_to_end_an_import_is_told(tmp_path):
    code = "class Odd(BaseException):\n    pass\nraise Odd('ended')"
    with pytest.raises(ValueError, match="line 3: Odd: ended"):
        register_from(write_contender(tmp_path, code=code))


def test_building_for_production_imports_no_entry_point(tmp_path):
    file = write_contender(tmp_path, "acme_losses.py")
    install(file.parent, "acme-losses", {"mine": "acme_losses"})
    sys.path.append(str(file.parent))
    impls.build("arcface", "fused", num_classes=3, embedding_dim=2)
    with pytest.raises(ValueError, match="arcface has no variant 'mine'"):
        impls.build("arcface", "mine", num_classes=3, embedding_dim=2)


def test_a_loss_may_come_from_outside(tmp_path):
    code = """
from dataclasses import replace

import lossbench

lossbench.register_loss(replace(lossbench.loss("arcface"), name="acme_arcface"))
"""
    origin = register_from(write_contender(tmp_path, code=code))
    assert origin_of("acme_arcface", "reference") == origin
