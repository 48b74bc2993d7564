package agent

import "time"

const (
	// freeRepairs in a row are done at once: other firewalls are reloaded, and people try again. Of those that take long
	// only a few are.
	freeRepairs, freeCostly = 50, 5
	costly                  = 100 * time.Millisecond
	// calm is how long nobody may interfere for the next repair to begin a new row.
	calm = 10 * time.Second

	shortestRest = 10 * time.Millisecond
	longestRest  = time.Second
)

// fight paces repairs against a program that changes our rules again and again. They are still repaired, but neither at
// its pace nor with more than a tenth of a core. It reads no clock.
type fight struct {
	row  int           // drifts that were found, each within calm of the one before
	last time.Time     // when the newest was
	took time.Duration // to repair it
}

// drift takes note of one that was found.
func (f *fight) drift(now time.Time) {
	if now.Sub(f.last) > calm {
		f.row = 0
	}
	f.row, f.last = f.row+1, now
}

// on says whether it is a fight.
func (f *fight) on(now time.Time) bool { return f.row > f.free() && now.Sub(f.last) <= calm }

// over is when it will have ended by itself; zero where there is none.
func (f *fight) over() time.Time {
	if f.row <= f.free() {
		return time.Time{}
	}
	return f.last.Add(calm + time.Millisecond)
}

func (f *fight) free() int {
	if f.took >= costly {
		return freeCostly
	}
	return freeRepairs
}

// next is when the next repair may begin.
func (f *fight) next() time.Time {
	beyond := f.row - f.free()
	if beyond < 0 {
		return time.Time{}
	}
	rest := min(shortestRest<<min(beyond, 10), longestRest)
	return f.last.Add(max(rest, 9*f.took))
}
