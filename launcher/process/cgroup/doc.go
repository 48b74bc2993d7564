// Package cgroup makes control groups for instances: to limit them, to learn that they ran out of memory, and to end them
// with all that they started.
//
// Three kinds of host are known. Version 2: everything is one group. Hybrid: version 1 has the controllers, version 2 is
// mounted beside it without any, and still ends a tree at one stroke. Version 1 alone: the freezer holds a tree still
// while it is killed. What a host cannot do is told as a text for the operator, and the instance runs without.
package cgroup
