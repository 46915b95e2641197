from tests.cluster.lab import NODES, Lab


def test_each_node_has_its_own_name_home_and_files(lab: Lab) -> None:
    for node in NODES:
        lab.ssh(node, f"echo {node} > {lab.local}/name")
    said = [lab.ssh(node, f"hostname; cat {lab.local}/name; echo $HOME").stdout.split() for node in NODES]
    assert said == [[node, node, f"{lab.path}/{node}/home"] for node in NODES]


def test_the_nodes_reach_each_other_until_a_cable_is_pulled(lab: Lab) -> None:
    reach = f"bash -c '</dev/tcp/{lab.address('node-b')}/2222' && echo reached"
    assert lab.ssh("node-a", f"timeout 5 {reach}").stdout == "reached\n"
    lab.link("node-b", up=False)
    try:
        assert lab.ssh("node-a", f"timeout 1 {reach}").stdout == ""
    finally:
        lab.link("node-b", up=True)


def test_a_node_comes_back_after_a_power_cut(lab: Lab) -> None:
    lab.ssh("node-b", "setsid sleep 300 > /dev/null 2>&1 < /dev/null &")
    lab.power_off("node-b")
    lab.power_on("node-b")
    assert lab.processes("node-b") == []
