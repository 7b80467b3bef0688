"""What fits into so many minutes: which servers, how many rounds, how long each load, whose knees. Pure."""
from dataclasses import dataclass, replace

WARM_UP_SECONDS = 5
# Connecting and the last texts: what a load takes beside its duration.
ENDS_SECONDS = 4
KNEE_LOADS = 6
MANY = (3, 60), (3, 45), (3, 30)
FEW = (2, 30), (2, 20)


@dataclass(frozen=True)
class Plan:
    """What is done. Estimates are for servers that reach as far as `Rival.reaches` says; the climb itself goes by what it measures."""

    rivals: tuple
    rounds: int
    duration: int
    ladder: tuple
    # The knees are looked for at some of these.
    limits_ms: tuple
    knee_limits_ms: tuple
    # `all`, `open` (those that kept a limit up to the end of the ladder) or `none`.
    knees: str
    patience: int
    left_out: tuple = ()

    def seconds(self):
        """About how long all of it takes."""
        return self.rounds * sum(self.climb_seconds(rival) for rival in self.rivals) + sum(self.knee_seconds(rival) for rival in self.searched())

    def load_seconds(self):
        return self.duration + ENDS_SECONDS

    def climb_seconds(self, rival):
        tried = [people for people in self.ladder if people <= rival.reaches]
        # Who does not reach the end loses texts, and the last load waits for them.
        waits = self.patience if rival.reaches < self.ladder[-1] else 0
        return self.begin_seconds(rival) + max(1, len(tried)) * self.load_seconds() + waits

    def knee_seconds(self, rival):
        return self.begin_seconds(rival) + len(self.knee_limits_ms) * KNEE_LOADS * self.load_seconds()

    def begin_seconds(self, rival):
        return rival.starts_seconds + WARM_UP_SECONDS + ENDS_SECONDS

    def searched(self):
        """Whose knees are likely to be looked for."""
        if self.knees == "none" or not self.knee_limits_ms:
            return []
        return [rival for rival in self.rivals if self.knees == "all" or rival.reaches > self.ladder[-1]]

    def told(self):
        """The plan in words, a line each."""
        people = ", ".join(map(str, self.ladder))
        yield f"{self.rounds} round{'s' * (self.rounds > 1)}; in each, every server in turn with {people} people for {self.duration} s each (fewer once it is far too slow):"
        yield from (f"  {rival.key}: about {self.climb_seconds(rival):.0f} s a round" for rival in self.rivals)
        yield from (f"  without {rival.key}: {why}" for rival, why in self.left_out)
        yield self.knees_told()
        yield f"in all about {self.seconds() / 60:.0f} minutes"

    def knees_told(self):
        if self.knees == "none" or not self.knee_limits_ms:
            return "no knees"
        who = "every server" if self.knees == "all" else "each server that kept the limit up to the end of the ladder"
        limits = " and ".join(f"{limit} ms" for limit in self.knee_limits_ms)
        likely = ", ".join(rival.key for rival in self.searched()) or "none"
        return f"then the knee at {limits} of {who} (expected: {likely}; about {sum(map(self.knee_seconds, self.searched())):.0f} s)"


def fitting(wish, minutes):
    """The best plan that fits. What is given up, in this order: the REST modes, length and rounds, the knees at the
    second limit, another spare mode, all knees, the second round."""
    plans = list(choices(wish, minutes))
    return next((plan for plan in plans if plan.seconds() <= 60 * minutes), plans[-1])


def choices(wish, minutes):
    wish = replace(wish, knees="open" if wish.knees == "all" else wish.knees)
    one_limit = {"knee_limits_ms": wish.knee_limits_ms[:1]}
    for spare, shapes, changes in (
        (2, MANY, {}), (1, MANY, {}), (1, FEW, {}), (1, FEW, one_limit), (0, FEW, one_limit),
        (0, FEW[-1:], {"knees": "none"}), (0, ((1, 20),), {"knees": "none"}),
    ):
        kept = tuple(rival for rival in wish.rivals if rival.spare <= spare)
        gone = tuple((rival, f"no time for it within {minutes:g} minutes") for rival in wish.rivals if rival not in kept)
        for rounds, duration in shapes:
            if kept:
                yield replace(wish, rivals=kept, left_out=(*wish.left_out, *gone), rounds=rounds, duration=duration, **changes)
