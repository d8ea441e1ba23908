import type { EChartsOption } from 'echarts';

/**
 * A chart as SVG text, drawn by Apache ECharts without a browser. The library is loaded with the first chart: it takes
 * longer to load than all else here.
 *
 * @param size width and height, pixels
 */
export async function renderChart(
  option: EChartsOption,
  { width, height }: { width: number; height: number },
): Promise<string> {
  const { init } = await import('echarts');
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, backgroundColor: '#fff', ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
