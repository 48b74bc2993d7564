package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// serviceFlags say what is to be published: files, or one service by flags.
type serviceFlags struct {
	name              string
	files             []string
	vips, ports       []string
	instances         []string
	balance, affinity string
}

func (f *serviceFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "file", "f", nil, "service file, YAML or JSON; - for standard input; may be repeated")
	flags.StringArrayVar(&f.vips, "vip", nil, "IP:PORT or IP:PORT/udp that clients connect to; may be repeated")
	flags.StringArrayVar(&f.ports, "port", nil, "PORT or PORT/udp of a VIP that is taken from the pools; may be repeated")
	flags.StringArrayVar(&f.instances, "instance", nil, "IP:PORT or IP:PORT=WEIGHT of an instance; may be repeated")
	flags.StringVar(&f.balance, "balance", "", "uniform, static or adaptive (default static)")
	flags.StringVar(&f.affinity, "affinity", "", "none or source (default none)")
}

// check finds mistakes of usage before anything is opened.
func (f *serviceFlags) check(args []string) error {
	byFlags := len(f.vips)+len(f.ports)+len(f.instances) > 0 || f.balance+f.affinity != ""
	switch {
	case len(f.files) > 0 && (len(args) > 0 || byFlags):
		return errors.New("give a file or a NAME with flags, not both")
	case len(f.files) > 0:
		return nil
	case len(args) != 1:
		return errors.New("give one NAME with --vip and --instance, or -f FILE")
	case len(f.vips)+len(f.ports) == 0:
		return errors.New("give at least one --vip, or --port to have a VIP taken from the pools")
	case len(f.vips) > 0 && len(f.ports) > 0:
		return errors.New("give --vip or --port, not both")
	}
	f.name = args[0]
	_, err := f.service()
	return err
}

// entries are what is to be published. All mistakes of all files are reported at once.
func (f *serviceFlags) entries(a *app) ([]controlcenter.Entry, error) {
	if len(f.files) == 0 {
		s, err := f.service()
		return []controlcenter.Entry{{Service: s}}, err
	}
	var all []controlcenter.Entry
	var errs []error
	for _, file := range f.files {
		name, data, err := a.read(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		entries, err := controlcenter.ReadFile(name, data)
		all, errs = append(all, entries...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (f *serviceFlags) service() (*cluster.Service, error) {
	s := &cluster.Service{Name: f.name, Balance: cluster.Balance(f.balance), Affinity: cluster.Affinity(f.affinity)}
	var errs []error
	frontends := map[cluster.Frontend]bool{}
	for _, text := range f.vips {
		front, err := cluster.ParseFrontend(text)
		errs = append(errs, err)
		frontends[front] = true
		addTo(s, front.VIP, cluster.Port{Port: front.Port, Protocol: front.Proto})
	}
	for _, text := range f.ports {
		port, err := parsePort(text)
		errs = append(errs, err)
		addTo(s, netip.Addr{}, port)
	}
	for _, text := range f.instances {
		i, err := parseInstance(text)
		errs = append(errs, err)
		s.Instances = append(s.Instances, i)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, front := range s.Frontends() {
		if !frontends[front] {
			return nil, fmt.Errorf("--vip: a service has the same ports at all of its VIPs, and %s is not given: add it, or publish two services", front)
		}
	}
	for i, p := range s.Ports {
		if len(s.Ports) > 1 {
			s.Ports[i].Name = fmt.Sprintf("%s-%d", p.Protocol, p.Port) // instances tell ports apart by name
		}
	}
	return s, nil
}

func addTo(s *cluster.Service, vip netip.Addr, port cluster.Port) {
	if vip.IsValid() && !slices.Contains(s.VIPs, vip) {
		s.VIPs = append(s.VIPs, vip)
	}
	if !slices.Contains(s.Ports, port) {
		s.Ports = append(s.Ports, port)
	}
}

func parsePort(text string) (cluster.Port, error) {
	number, name, _ := strings.Cut(text, "/")
	proto, err := cluster.ParseProto(name)
	if err != nil {
		return cluster.Port{}, fmt.Errorf("port %q: %w", text, err)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return cluster.Port{}, fmt.Errorf("port %q: want 1..65535, as in 8080 or 53/udp", text)
	}
	return cluster.Port{Port: uint16(n), Protocol: proto}, nil
}

func parseInstance(text string) (cluster.Instance, error) {
	address, weight, weighted := strings.Cut(text, "=")
	i, err := cluster.ParseInstance(address)
	if err != nil {
		return i, err
	}
	if i.Port == 0 {
		return i, fmt.Errorf("instance %q: want IP:PORT or IP:PORT=WEIGHT", text)
	}
	if weighted {
		if i.Weight, err = strconv.Atoi(weight); err != nil || i.Weight < 0 || i.Weight > cluster.MaxWeight {
			return i, fmt.Errorf("instance %q: weight %q is not a whole number in 0..%d", text, weight, cluster.MaxWeight)
		}
	}
	return i, nil
}
