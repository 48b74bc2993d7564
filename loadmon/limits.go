package loadmon

import "time"

// Interval is how often monitors sample and the leader decides.
const Interval = 5 * time.Second

// MinBusy is the least that busy reads: below it, it says nothing about capacity.
const MinBusy = 0.02

// What reports are believed.
const (
	fresh     = 15 * time.Second           // older figures do not count, and no jump of a clock counts for more
	ahead     = 5 * time.Second            // how far a node's clock may be ahead of the leader's
	maxUptime = 100 * 365 * 24 * time.Hour // beyond it a duration would overflow
	maxRate   = 1e6                        // connections a second to one instance; what is more is a broken counter
	maxActive = 1e8
	maxPart   = 1.01 // of what is 0..1: rounding on the node is forgiven
	maxMS     = 3_600_000
	wishFloor = 0.001 // of its weight: what an instance keeps that wishes for nothing, and the least change that is told
	few       = 3     // instances are told of one by one in a reason

	maxProcessors = 1 << 16
	maxCPUSeconds = 1e12
	maxBytes      = 1 << 50
	maxFiles      = 1 << 40
	maxFlows      = 1 << 40
)

// MaxWish is the largest part of its weight that an application may wish for: HAProxy's limit.
const MaxWish = 256

// How weights move. docs/decisions/030 has the figures.
const (
	step      = 0.25 // the most that one decision moves a weight, up or down
	deadBand  = 0.03 // what is nearer to its target stays
	certainty = 2.5  // a move is made when it is this many standard errors away from chance
	hunch     = 1.2  // the same while an estimate is young: then the share is far off rather than near
	point     = 0.005
	tenth     = 0.10 // a share that moved by half a point or a tenth of itself, whichever is less, is worth a write
	least     = 0.02 // of the mean weight: who has next to nothing must still be able to show that it recovered
)

// New, silent and failing instances.
const (
	blackout    = 10 * time.Second // figures of an instance that has just come do not count
	slowStart   = 30 * time.Second // until then a new instance gets its age's part of its share
	rampFloor   = 0.1
	remembered  = 10 * time.Minute // how long the weight of an instance that went away is kept
	manyFailed  = 5                // failures in a row
	manySlow    = 3                // answers in a row beyond the hard limit
	manyQueued  = 12               // the same of a busy instance: its weight has a minute to let the queue drain
	ejectFirst  = 30 * time.Second // times the number of ejections
	ejectMost   = 300 * time.Second
	ejectForget = 5 * time.Minute // without an ejection, one is forgotten
)
