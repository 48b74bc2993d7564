package rulestest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/rules"
)

func TestFake(t *testing.T) {
	fake := NewFake(1)
	TestDriver(t, rules.Options{}, func(testing.TB) rules.Driver { return fake })
	require.Empty(t, fake.Lost, "packets that would have left untranslated")
	require.Positive(t, fake.Commits)
}

func TestFakeWithoutTables(t *testing.T) {
	fake := NewFake(2)
	TestDriver(t, rules.Options{NoTables: true}, func(testing.TB) rules.Driver { return fake })
	require.Empty(t, fake.Lost, "packets that would have left untranslated")
}
