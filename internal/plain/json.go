package plain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// most is how much of a wrong value is shown, in bytes.
const most = 40

// JSON says in a sentence about "it" why a text cannot be read as what is wanted, given the error of encoding/json. What is wrong
// is shown escaped and cut.
func JSON(text []byte, err error) string {
	var other *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	rest := bytes.TrimSpace(text)
	switch {
	case len(rest) == 0:
		return "it is empty"
	case errors.As(err, &other) && other.Field != "":
		return fmt.Sprintf("%s is %s, and %s is wanted", Line(other.Field, most), shown(valueAt(text, other.Field)), wanted(other.Type))
	case errors.As(err, &other):
		return fmt.Sprintf("it is %s, and %s is wanted", shown(rest), wanted(other.Type))
	case errors.As(err, &syntax) && syntax.Offset >= int64(len(text)):
		return "it ends before it is complete: " + shown(rest)
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON from byte %d on: %s", syntax.Offset, shown(text[max(0, syntax.Offset-1):]))
	}
	return Line(err.Error(), 5*most)
}

// shown is a value as it was written; other text in quotation marks.
func shown(text []byte) string {
	if json.Valid(text) {
		return Line(string(text), most)
	}
	return strconv.Quote(Line(string(text), most))
}

// valueAt finds a field by the path of its names.
func valueAt(text []byte, path string) []byte {
	for name := range strings.SplitSeq(path, ".") {
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) != nil {
			return text
		}
		for other, value := range fields {
			if strings.EqualFold(other, name) {
				text = value
			}
		}
	}
	return text
}

// wanted is a type in words.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 on"
	case reflect.String:
		return "a text in quotation marks"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}
