package launcher

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// FileVariable names the file that holds an instance's environment.
const FileVariable = "WEIR_ENV_FILE"

// What an instance speaks to its launcher by: where, and the token that says that it is itself.
const (
	URLVariable   = "WEIR_URL"
	TokenVariable = "WEIR_TOKEN"
)

// searchPath is the PATH of an instance that brings none.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environment is all that an instance gets, as NAME=VALUE in the order of the names. Nothing is inherited.
func (s Spec) Environment() []string {
	all := map[string]string{"PATH": searchPath}
	maps.Copy(all, s.Env)
	maps.Copy(all, s.given()) // Validate refuses a clash; what the launcher says is true in any case
	out := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out
}

// given is what the launcher says of the instance itself.
func (s Spec) given() map[string]string {
	out := map[string]string{"APP_NAME": s.Service, "INSTANCE_ID": s.ID, "LOG_ADDR": s.LogAddress, "HOST_IP": ""}
	if s.Host.IsValid() {
		out["HOST_IP"] = s.Host.String()
	}
	for i, p := range s.Ports {
		port := strconv.Itoa(int(p.Port))
		if i == 0 {
			out["PORT"] = port
		}
		if p.Name != "" {
			out[portVariable(p.Name)] = port
		}
	}
	return out
}

// portVariable is PORT_ADMIN_HTTP for admin-http.
func portVariable(name string) string {
	return "PORT_" + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(name))
}

// EnvironmentFile is the environment as a text that a shell can source and that systemd reads as an EnvironmentFile.
func EnvironmentFile(environment []string) string {
	var b strings.Builder
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		b.WriteString(name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n")
	}
	return b.String()
}
