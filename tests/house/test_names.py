"""A class name is unique over all rooms, so a reader knows which class is meant."""

import ast
from collections import defaultdict

from lossbench import impls
from tests.house.test_layering import ROOMS, ROOT, files

REGISTER = ("register", "register_sharded")


def registered_for(node):
    """Return the Loss of a class with ``@register("loss", ...)``; ``None`` for any other class."""
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(ast.Name(name), [ast.Constant(str() as loss), *_]) if name in REGISTER:
                return loss
    return None


def classes():
    """Yield the name, the module and the Loss of each class at the top level of a module."""
    references = {loss.reference: loss.name for loss in impls.losses()}
    losses = {(r.__module__, r.__name__): loss for r, loss in references.items()}
    for room in ROOMS:
        for path in files(room):
            module = "lossbench." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    loss = losses.get((module, node.name)) or registered_for(node)
                    yield node.name, module, loss


def test_a_class_shares_its_name_only_with_those_of_its_loss():
    found = defaultdict(list)
    for name, module, loss in classes():
        found[name].append((module, loss))
    assert len(found["ArcFace"]) >= 3
    for name, definitions in found.items():
        modules = [module for module, _ in definitions]
        losses = {loss for _, loss in definitions}
        alone = len(modules) == 1
        assert alone or (len(losses) == 1 and losses != {None}), f"{name}: {', '.join(modules)}"
