from tests.campaigns import page


def test_the_page_shows_what_the_campaigns_wrote() -> None:
    text = page.PAGE.read_text()
    assert page.rendered(text) == text, "python -m tests.campaigns.page makes it anew"
