package sample

// Since is by how much a counter rose. One that fell began anew.
func Since(before, now uint64) uint64 {
	if now >= before {
		return now - before
	}
	return now
}
