// Package top makes the picture of weir top: how services and nodes are doing, at one moment.
//
//	cluster.Snapshot, what nodes told of themselves, reports of load monitors (Past) --Board.Frame--> Frame --Text--> lines
//
// Nothing here reads a clock, a network or a terminal. What is not known is nil in a Frame, and "-" in the text: it is never
// shown as 0.
package top
