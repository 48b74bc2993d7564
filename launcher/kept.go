package launcher

// Kept is where a driver keeps what an instance wrote, also of one that was stopped a short while ago.
type Kept struct {
	ID      string
	Service string // "" where it is not known any more
	Dir     string
	Stopped bool
}
