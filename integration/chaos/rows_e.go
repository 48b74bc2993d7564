package chaos

// inputRows are bad inputs.
var inputRows []Row
