package simulate

import (
	"fmt"
	"html"
	"strings"
)

// line is one curve of a plot.
type line struct {
	name   string
	x, y   []float64
	dashed bool
	colour string
}

// plot is a chart of lines, as SVG that needs nothing else.
type plot struct {
	title, xUnit, yUnit string
	x0, x1, y0, y1      float64
	xStep, yStep        float64
	lines               []line
}

// Colours that differ in lightness as well, for those who do not see them.
var colours = []string{"#0b4f8a", "#d9792b", "#3f9b56"}

const (
	plotWidth, plotHeight    = 760.0, 270.0
	plotLeft, plotRight      = 52.0, 130.0
	plotTop, plotBottom      = 34.0, 40.0
	plotInnerW, plotInnerH   = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	legendStep, legendIndent = 18.0, 12.0
)

func (p plot) px(x float64) float64 { return plotLeft + (x-p.x0)/(p.x1-p.x0)*plotInnerW }
func (p plot) py(y float64) float64 { return plotTop + (p.y1-y)/(p.y1-p.y0)*plotInnerH }

// svg draws it.
func (p plot) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<text x="%.0f" y="20" font-size="14">%s</text>`+"\n", plotLeft, html.EscapeString(p.title))
	p.axes(&b)
	for i, l := range p.lines {
		p.curve(&b, l)
		y := plotTop + legendStep*float64(i) + 6
		fmt.Fprintf(&b, `<line x1="%.0f" x2="%.0f" y1="%.0f" y2="%.0f" stroke="%s" stroke-width="2"%s/>`+"\n",
			plotWidth-plotRight+legendIndent, plotWidth-plotRight+legendIndent+18, y, y, l.colour, dash(l))
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f">%s</text>`+"\n", plotWidth-plotRight+legendIndent+24, y+4, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p plot) axes(b *strings.Builder) {
	for y := p.y0; y <= p.y1+p.yStep/2; y += p.yStep {
		fmt.Fprintf(b, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, plotWidth-plotRight, p.py(y), p.py(y))
		fmt.Fprintf(b, `<text x="%.0f" y="%.1f" text-anchor="end">%.0f %s</text>`+"\n", plotLeft-5, p.py(y)+4, y, p.yUnit)
	}
	for x := p.x0; x <= p.x1+p.xStep/2; x += p.xStep {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.0f" y2="%.0f" stroke="#999"/>`+"\n", p.px(x), p.px(x), plotTop+plotInnerH, plotTop+plotInnerH+4)
		fmt.Fprintf(b, `<text x="%.1f" y="%.0f" text-anchor="middle">%.0f</text>`+"\n", p.px(x), plotTop+plotInnerH+17, x)
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n", plotLeft+plotInnerW/2, plotHeight-8, html.EscapeString(p.xUnit))
}

func (p plot) curve(b *strings.Builder, l line) {
	points := []string{}
	for i := range l.x {
		if l.x[i] >= p.x0 && l.x[i] <= p.x1 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", p.px(l.x[i]), p.py(min(max(l.y[i], p.y0), p.y1))))
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(points, " "), l.colour, dash(l))
}

func dash(l line) string {
	if l.dashed {
		return ` stroke-dasharray="4 4"`
	}
	return ""
}
