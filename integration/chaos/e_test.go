package chaos

var inputCases = map[string]func(*run){}
