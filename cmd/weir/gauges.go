package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-lb/weir/etcd"
)

// registerGauges adds what only the wiring knows: the store's connection, and who owns the tables.
func registerGauges(r prometheus.Registerer, store *etcd.Store, driver driver) {
	gauge := func(name, help string, truth func() bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "agent", Name: name, Help: help}, func() float64 {
			if truth() {
				return 1
			}
			return 0
		}))
	}
	gauge("etcd_connected", "1 while etcd answers.", func() bool { return store.Status().Connected })
	gauge("etcd_insecure", "1 when --insecure-etcd was given: plain http or no authentication is accepted.", func() bool { return store.Status().Insecure })
	gauge("table_owned", "1 when the kernel keeps our tables from everybody else.", driver.Owning)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "agent", Name: "info", Help: "1, with the version and the driver."}, []string{"version", "driver"})
	info.WithLabelValues(versionOf(), driver.Name()).Set(1)
	r.MustRegister(info)
}
