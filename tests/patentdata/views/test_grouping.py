import numpy as np

from patentdata.views.grouping import group_ink


def drawn(*boxes, height=1000, width=800):
    """A page with outlines of rectangles."""
    page = np.full((height, width), 255, np.uint8)
    for x0, y0, x1, y1 in boxes:
        page[y0:y1, x0:x1] = 0
        page[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = 255
    return page


def boxes_by_label(page, labels):
    return {group.label: group.box for group in group_ink(page, labels).groups}


def test_all_ink_of_a_sheet_with_one_label_is_its_figure_in_any_number_of_parts():
    page = drawn((50, 50, 300, 200), (400, 600, 700, 800))
    assert boxes_by_label(page, [(300, 900, 400, 940)]) == {0: (50, 50, 700, 800)}


def test_each_label_below_takes_the_figure_above_it():
    page = drawn((100, 50, 500, 350), (100, 500, 500, 800))
    assert boxes_by_label(page, [(250, 850, 350, 890), (250, 400, 350, 440)]) == {
        0: (100, 500, 500, 800),
        1: (100, 50, 500, 350),
    }


def test_labels_above_are_distinguished_from_labels_below_by_the_whole_sheet():
    page = drawn((100, 100, 500, 400), (100, 550, 500, 850))
    assert boxes_by_label(page, [(250, 40, 350, 80), (250, 490, 350, 530)]) == {
        0: (100, 100, 500, 400),
        1: (100, 550, 500, 850),
    }


def test_diagonal_neighbours_may_have_boxes_that_overlap():
    page = drawn((50, 50, 350, 300), (50, 290, 60, 450), (420, 330, 430, 600), (300, 590, 700, 800))
    found = boxes_by_label(page, [(150, 480, 250, 520), (450, 850, 550, 890)])
    assert found == {0: (50, 50, 350, 450), 1: (300, 330, 700, 800)}


def test_lone_specks_are_not_part_of_a_thin_edge_view():
    page = drawn((50, 100, 700, 112))
    page[300, 400] = page[500:502, 200:202] = 0
    assert boxes_by_label(page, [(300, 900, 400, 940)]) == {0: (50, 100, 700, 112)}


def test_a_dotted_line_is_not_dust():
    page = drawn((50, 100, 400, 300))
    page[400:403, 50:700:12] = 0
    page[401:403, 53:700:12] = 255
    (group,) = group_ink(page, []).groups
    assert group.box[2] > 680 and group.box[3] >= 401


def test_figures_that_touch_are_cut_and_flagged():
    page = drawn((100, 50, 500, 400), (100, 400, 500, 750))
    groups = group_ink(page, [(550, 200, 650, 240), (550, 550, 650, 590)]).groups
    assert [group.label for group in groups] == [0, 1]
    assert all("touching_figures" in group.flags for group in groups)
    assert abs(groups[0].box[3] - 400) < 20


def test_a_sheet_without_ink_has_no_groups():
    assert group_ink(drawn(), []).groups == []


def test_a_label_with_a_leader_is_a_call_out_if_the_sheet_is_better_explained_without_it():
    page = drawn((100, 200, 500, 700))
    page[150:200, 298:302] = 0  # its leader
    grouping = group_ink(page, [(250, 800, 350, 840), (260, 100, 340, 140)], suspects=[1])
    assert grouping.call_out == 1


def test_a_lone_line_inside_a_figure_is_not_a_figure():
    page = drawn((100, 100, 700, 800))
    page[300:600, 398:402] = 0
    found = boxes_by_label(page, [(300, 850, 400, 890), (720, 400, 790, 440)])
    assert (398, 300, 402, 600) not in found.values()


def test_a_call_out_explains_a_missing_figure_better_than_a_cut_through_the_ink():
    page = drawn((100, 100, 500, 800))
    page[700:703, 500:600] = 0
    grouping = group_ink(page, [(250, 850, 350, 890), (610, 680, 700, 720)], suspects=[1])
    assert grouping.call_out == 1
