"""Tree files of edges and of paths, and products that do not fit them."""

import pytest

PRODUCTS = "id,t,n\n1,x,c\n2,x,b|d\n3,x,\n"


def edges(files="tree.csv", **tree):
    return {"input": {"files": files}, "key": "k", "parent": "p", "name": "n", **tree}


def mapping(tree, **products):
    node = {"node": "n", "path_separator": "|"}
    options = {"item_id": "id", "title": "t", "paths": [node], "input": {"files": "p.csv"}}
    return {"products": {**options, **products}, "tree": tree}


@pytest.fixture
def files(tmp_path):
    def write(tree, products=PRODUCTS):
        (tmp_path / "tree.csv").write_text(tree)
        (tmp_path / "p.csv").write_text(products)

    return write


def test_edges(files, prepare):
    files("k,p,n\na,,Root\nb,a,Left\nc,b,Leaf\nd,a,\n")
    made = prepare(mapping(edges()))
    assert made.paths == ["Root", "Root > Left", "Root > d", "Root > Left > Leaf"]
    assert made.nodes() == {
        "1": ["Root > Left > Leaf"], "2": ["Root > Left", "Root > d"], "3": [],
    }  # fmt: skip


def test_an_artificial_super_root_is_no_node(files, prepare):
    files("k,p,n\na,,All\nb,a,Left\nc,b,Leaf\nd,a,\n", PRODUCTS + "4,x,a\n")
    made = prepare(mapping(edges(drop_super_root=True)))
    assert made.paths == ["Left", "d", "Left > Leaf"]
    assert made.nodes() == {"1": ["Left > Leaf"], "2": ["Left", "d"], "3": [], "4": []}


def test_a_super_root_of_paths_goes_too(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,All>A>B\n2,x,All>C\n3,x,All\n")
    path = {"column": "n", "separator": ">"}
    products = {"item_id": "id", "title": "t", "paths": [path], "input": {"files": "p.csv"}}
    made = prepare({"products": products, "tree": {"drop_super_root": True}})
    assert made.paths == ["A", "C", "A > B"]
    assert made.nodes() == {"1": ["A > B"], "2": ["C"], "3": []}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        pytest.param("k,p,n\na,,A\nb,,B\n", "has 2 roots", id="two roots"),
        pytest.param("k,p,n\na,,A\n", "is one node alone", id="nothing below"),
    ],
)
def test_only_a_single_root_can_be_dropped(files, error_of, tree, message):
    files(tree, "id,t,n\n1,x,a\n")
    assert message in error_of(mapping(edges(drop_super_root=True)))


def test_a_node_of_two_parents_is_refused_or_repeated(files, prepare, error_of):
    files("k,p,n\na,,A\nb,,B\nc,a,C\nc,b,C\nd,c,D\n")
    assert "'c' has 2 parents ('a', 'b')" in error_of(mapping(edges()))
    made = prepare(mapping(edges(multi_parent="duplicate")))
    assert made.nodes()["1"] == ["A > C", "B > C"]
    assert made.nodes()["2"] == ["B", "A > C > D", "B > C > D"][1:]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        pytest.param("k,p,n\na,b,A\nb,a,B\n", "cycle a -> b -> a", id="cycle"),
        pytest.param("k,p,n\na,,A\na,,B\n", "listed twice", id="repeated"),
        pytest.param("k,p,n\na,z,A\n", "'a' has the parent 'z', which is no node", id="orphan"),
        pytest.param("k,p,n\na,a,A\n", "'a' is its own parent", id="self-parent"),
        pytest.param("k,p,n\na,,A\nb,,B\nc,a,C\nc,b,D\n", "two names, 'C' and 'D'", id="names"),
        pytest.param("k,p,n\n", "the tree is empty", id="empty"),
        pytest.param("k,p,n\na,,A\n,a,B\n", "row 2 has no 'k'", id="no key"),
        pytest.param("k,n\na,A\n", "no column 'p'; the file has: k, n", id="no column"),
    ],
)
def test_a_broken_tree_is_one_line(files, error_of, tree, message):
    files(tree)
    assert message in error_of(mapping(edges(multi_parent="duplicate")))


def test_ten_thousand_levels_are_one_line(files, error_of):
    rows = [f"{number},{number - 1 if number else ''},N" for number in range(10_000)]
    files("\n".join(["k,p,n", *rows]))
    assert "deeper than 100 levels" in error_of(mapping(edges()))


def test_paths_with_keys(files, prepare):
    files("k,p\nc, Root  > Left >Leaf\nb,Root > Left\nd,Root > d\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "path": {"column": "p", "separator": ">"}}
    made = prepare(mapping(tree))
    assert made.nodes()["1"] == ["Root > Left > Leaf"]


def test_one_key_of_two_paths_is_refused(files, error_of):
    files("k,p\nc,A/B\nc,A/C\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "path": {"column": "p", "separator": "/"}}
    assert "key 'c' has two paths, 'A > B' and 'A > C'" in error_of(mapping(tree))


def test_products_name_paths_of_a_path_file(files, prepare):
    files("p\nA/B\nA/C\nD\n", "id,t,q\n1,x,A>B\n2,x,A\n")
    tree = {"input": {"files": "tree.csv"}, "path": {"column": "p", "separator": "/"}}
    paths = [{"column": "q", "separator": ">"}]
    made = prepare(mapping(tree, paths=paths))
    assert made.paths == ["A", "D", "A > B", "A > C"]
    assert made.nodes() == {"1": ["A > B"], "2": ["A"]}


UNKNOWN = "id,t,n\n1,x,b\n2,x,b|zz\n3,x,zz\n"


def test_an_unknown_node_is_an_error_with_file_and_row(files, error_of):
    files("k,p,n\nb,,B\n", UNKNOWN)
    assert "p.csv: row 2: the tree has no node 'zz'" in error_of(mapping(edges()))


def test_an_unknown_node_can_cost_the_label(files, prepare):
    files("k,p,n\nb,,B\n", UNKNOWN)
    made = prepare(mapping(edges(), unknown_node="drop_label"))
    assert made.nodes() == {"1": ["B"], "2": ["B"], "3": []}
    assert "rows that lost an unknown node: 2" in made.report


def test_an_unknown_node_can_cost_the_row(files, prepare):
    files("k,p,n\nb,,B\n", UNKNOWN)
    made = prepare(mapping(edges(), unknown_node="drop_row"))
    assert made.nodes() == {"1": ["B"]}
    assert "rows left out for an unknown node: 2" in made.report


def test_no_row_left_is_an_error(files, error_of):
    files("k,p,n\nq,,Q\n", UNKNOWN)
    assert "no row is left" in error_of(mapping(edges(), unknown_node="drop_row"))


def test_shortening_does_not_go_with_a_tree_file(files, error_of):
    files("k,p,n\nb,,B\n")
    assert "max_depth" in error_of(mapping(edges(max_depth=2)))
