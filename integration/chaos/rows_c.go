package chaos

// storeRows are faults of etcd.
var storeRows []Row
