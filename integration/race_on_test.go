//go:build race

package integration

const racing = true
