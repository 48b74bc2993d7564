package chaos

var storeCases = map[string]func(*run){}
