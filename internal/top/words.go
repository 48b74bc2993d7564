package top

import (
	"fmt"
	"strconv"
)

// What follows are figures in words; one that is not known is a dash.

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 100:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.0f", *v)
}

func count(v *uint64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatUint(*v, 10)
}

func percent(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *v)
}

// share is a part of 1.
func share(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100**v)
}

func millis(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 10:
		return fmt.Sprintf("%.1fms", *v)
	case *v < 1000:
		return fmt.Sprintf("%.0fms", *v)
	}
	return fmt.Sprintf("%.1fs", *v/1000)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
