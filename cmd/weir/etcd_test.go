package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/etcd"
)

func TestEtcdFromEnvironment(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("secret \n"), 0o600))
	for variable, value := range map[string]string{
		"WEIR_ETCD_ENDPOINTS": "https://a:1,https://b:2", "WEIR_ETCD_CA": "ca", "WEIR_ETCD_CERT": "cert", "WEIR_ETCD_KEY": "key", "WEIR_ETCD_USER": "u",
		"WEIR_ETCD_PASSWORD_FILE": password, "WEIR_ETCD_PREFIX": "/p/", "WEIR_INSECURE_ETCD": "true", "WEIR_TIMEOUT": "3s",
	} {
		t.Setenv(variable, value)
	}
	var got etcdFlags
	a := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})
	a.open = func(_ context.Context, f etcdFlags) (store, error) { got = f; return newFake(), nil }
	require.Equal(t, 0, a.execute(t.Context(), []string{"weir", "get", "services", "--etcd-ca", "flag"}))
	require.Equal(t, 3*time.Second, got.timeout)
	c, err := got.config()
	require.NoError(t, err)
	require.Equal(t, etcd.Config{
		Endpoints: []string{"https://a:1", "https://b:2"}, CA: "flag", Cert: "cert", Key: "key", User: "u", Password: "secret ", Prefix: "/p/",
		Insecure: true, DialTimeout: 3 * time.Second,
	}, c)
	t.Setenv("WEIR_TIMEOUT", "never")
	var talk bytes.Buffer
	require.Equal(t, 2, newApp(nil, &bytes.Buffer{}, &talk).execute(t.Context(), []string{"weir", "get", "services"}))
	require.Contains(t, talk.String(), "environment variable WEIR_TIMEOUT")
}

func TestEtcdThatIsAwayOrUnsafe(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]struct {
		code int
		says string
	}{
		"--etcd http://127.0.0.1:1 --timeout 2s":          {5, "etcd cannot be reached"},
		"--etcd http://192.0.2.1:2379":                    {3, "--insecure-etcd"},
		"--etcd 127.0.0.1:2379":                           {1, "want https://HOST:PORT"},
		"--etcd-password-file /does/not/exist":            {1, "read the password of etcd"},
		"--etcd https://127.0.0.1:1 --etcd-ca /not/there": {1, "/not/there"},
	} {
		var out, talk bytes.Buffer
		code := newApp(nil, &out, &talk).execute(t.Context(), append([]string{"weir", "get", "services"}, strings.Fields(flags)...))
		require.Equal(t, want.code, code, "%s: %s", flags, talk.String())
		require.Contains(t, talk.String(), want.says)
		require.Empty(t, out.String())
	}
}
