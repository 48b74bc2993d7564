package plain

import "fmt"

// Plural is how many there are of what, as in "1 node" or "3 nodes".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
