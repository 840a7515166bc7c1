"""Servers that are killed: what was acknowledged is there, once."""

import threading
from collections import Counter

import httpx2
from serve_house import signs
from served import start
from web_makers import PAGE_VERSION, new_key

from defuse.label import VerdictStore

REGIONS, PEOPLE, KILLS = 40, 4, 3


class Annotator:
    """Labels every region, again and again until the server says that it has it."""

    def __init__(self, name, run):
        self.name, self.run = name, run
        self.left = [(f"r{number:03d}", new_key()) for number in range(1, REGIONS + 1)]
        self.acknowledged = []

    def work(self, link):
        """Go on until all is said or the server is gone."""
        origin = link.partition("/?")[0]
        try:
            with httpx2.Client(base_url=origin, headers={"Origin": origin}, trust_env=False, timeout=60) as browser:
                browser.get(link)
                page = browser.get("/").text
                csrf = {"X-CSRF-Token": page.partition('name="csrf" content="')[2].partition('"')[0]}
                assert browser.post("/api/name", json={"name": self.name}, headers=csrf).status_code == 200
                while self.left:
                    region, key = self.left[0]
                    body = {"run": self.run, "page": PAGE_VERSION, "key": key, "region": region}
                    body["answer"] = "not an error"
                    answer = browser.post("/api/verdicts", json=body, headers=csrf)
                    assert answer.status_code in {201, 409}, answer.text
                    self.acknowledged.append(self.left.pop(0)[0])
        except httpx2.HTTPError:
            return


def test_what_was_acknowledged_survives_kills_and_is_there_once(tmp_path):
    gallery = signs(REGIONS)
    people = [Annotator(f"person {number}", gallery.fingerprint) for number in range(PEOPLE)]
    for round_ in range(KILLS + 1):
        process, link = start(tmp_path, REGIONS, PEOPLE)
        threads = [threading.Thread(target=person.work, args=[link]) for person in people]
        for thread in threads:
            thread.start()
        if round_ < KILLS:
            quota = PEOPLE * REGIONS * (round_ + 1) // (KILLS + 1)
            while sum(len(person.acknowledged) for person in people) < quota:
                threads[0].join(0.002)
            process.kill()
        for thread in threads:
            thread.join()
        known = {(person.name, region) for person in people for region in person.acknowledged}
        process.kill()
        process.wait()
        process.stdout.close()
        with VerdictStore(tmp_path / "verdicts.sqlite", gallery.regions) as store:
            found = Counter((verdict.annotator, verdict.region) for verdict in store.all())
        assert known <= found.keys()
        assert max(found.values(), default=1) == 1
    assert len(found) == PEOPLE * REGIONS
