package top

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-lb/weir/internal/plain"
)

// column is one column of a table. Where the screen is too narrow, those with the highest spare go first; 0 stays.
type column struct {
	title string
	spare int
	right bool // numbers
}

const (
	gap       = "  "
	narrowest = 22 // of a first column that is cut to make room: an IPv4 address and port have room
)

// table lays rows out in columns within a width; 0: as wide as they are. All lines but the first are rows.
func table(columns []column, rows [][]string, width int) []string {
	for _, row := range rows {
		for i := range row {
			row[i] = plain.Line(row[i], unlimited)
		}
	}
	shown := make([]int, len(columns))
	for i := range shown {
		shown[i] = i
	}
	widths := measure(columns, rows)
	for width > 0 && total(shown, widths) > width {
		if cut := widths[0] - (total(shown, widths) - width); cut >= narrowest {
			widths[0] = cut
			break
		}
		spare := slices.MaxFunc(shown, func(a, b int) int { return columns[a].spare - columns[b].spare })
		if columns[spare].spare == 0 {
			break
		}
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == spare })
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	out := []string{line(columns, shown, widths, titles, width)}
	for _, row := range rows {
		out = append(out, line(columns, shown, widths, row, width))
	}
	return out
}

func measure(columns []column, rows [][]string) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = len(c.title)
	}
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	return widths
}

func total(shown, widths []int) int {
	sum := len(gap) * (len(shown) - 1)
	for _, i := range shown {
		sum += widths[i]
	}
	return sum
}

func line(columns []column, shown, widths []int, row []string, width int) string {
	var b strings.Builder
	for n, i := range shown {
		if n > 0 {
			b.WriteString(gap)
		}
		text := Cut(row[i], widths[i])
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		if columns[i].right {
			b.WriteString(pad + text)
		} else {
			b.WriteString(text + pad)
		}
	}
	return Cut(strings.TrimRight(b.String(), " "), width)
}

// Cut shortens a text to a width, and shows that it did; 0 leaves it.
func Cut(text string, width int) string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "~"
}
