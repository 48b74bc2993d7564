package plain_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/plain"
)

type inner struct {
	Part float64 `json:"part"`
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "it is empty",
		" \n":                              "it is empty",
		"0.6":                              "it is 0.6, and an object is wanted",
		"[1]":                              "it is [1], and an object is wanted",
		"ok\n":                             `it is no JSON from byte 1 on: "ok "`,
		`{"part": NaN}`:                    `it is no JSON from byte 10 on: "NaN}"`,
		`{"part": 0.`:                      `it ends before it is complete: "{\"part\": 0."`,
		`{"part": 1e999}`:                  "part is 1e999, and a number is wanted",
		`{"part": "0.5"}`:                  `part is "0.5", and a number is wanted`,
		`{"Part": {"a":1}}`:                `part is {"a":1}, and a number is wanted`,
		`{"count": -1}`:                    "count is -1, and a whole number from 0 on is wanted",
		`{"size": 1.5}`:                    "size is 1.5, and a whole number is wanted",
		`{"name": 1}`:                      "name is 1, and a text in quotation marks is wanted",
		`{"on": "yes"}`:                    `on is "yes", and true or false is wanted`,
		`{"list": 1}`:                      "list is 1, and a list is wanted",
		`{"in": {"part": "x"}}`:            `in.part is "x", and a number is wanted`,
		`{"part": "` + "\u202e\x7f" + `"}`: `part is "\u202e\x7f", and a number is wanted`,
		"\x1b[31m":                         `it is no JSON from byte 1 on: "\\x1b[31m"`,
		`{"part": "` + strings.Repeat("x", 90) + `"}`: `part is "` + strings.Repeat("x", 36) + `..., and a number is wanted`,
	} {
		var into struct {
			Part  *float64 `json:"part"`
			Count uint64   `json:"count"`
			Size  int      `json:"size"`
			Name  string   `json:"name"`
			On    bool     `json:"on"`
			List  []int    `json:"list"`
			In    inner    `json:"in"`
		}
		err := json.Unmarshal([]byte(text), &into)
		require.Error(t, err, text)
		require.Equal(t, want, plain.JSON([]byte(text), err), text)
	}
	require.Equal(t, `odd\x1b`, plain.JSON([]byte("{}"), errors.New("odd\x1b")))
}
