package plain

import (
	"fmt"
	"strings"
)

// few is how many names of a kind one line has.
const few = 5

// Few names the first of many, and how many more there are.
func Few(names []string) string {
	if more := len(names) - few; more > 0 {
		return strings.Join(names[:few], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
