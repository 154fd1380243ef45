// The cost of convolutions as minifer.cost counts it: multiply-adds of one picture, forward.

// A separable block and the ordinary convolution in its place.
export function block(positions, kernel, channels, filters) {
  const ordinary = positions * kernel ** 2 * channels * filters;
  const depthwise = positions * kernel ** 2 * channels;
  const pointwise = positions * channels * filters;
  return { ordinary, depthwise, pointwise, separable: depthwise + pointwise, ratio: 1 / filters + 1 / kernel ** 2 };
}

// MobileNet of a width for grey pictures of side x side pixels; table = {stem: filters, blocks: [[filters, stride], ...]}.
// The kernel is that of the blocks, the stem's stays 3 x 3.
export function network(table, alpha, side, kernel, classes = 7) {
  const scaled = (filters) => Math.max(1, Math.floor(filters * alpha));
  const half = (size, stride) => Math.ceil(size / stride);
  let [channels, size] = [scaled(table.stem), half(side, 2)];
  const stem = size ** 2 * 9 * channels;
  const blocks = table.blocks.map(([outputs, stride], number) => {
    const filters = scaled(outputs);
    size = half(size, stride);
    const row = { name: `block ${number + 1}`, size, channels, filters, stride };
    channels = filters;
    return { ...row, ...block(size ** 2, kernel, row.channels, filters) };
  });
  const ends = stem + channels * classes;
  const total = (kind) => blocks.reduce((sum, each) => sum + each[kind], ends);
  return { blocks, ends, separable: total("separable"), ordinary: total("ordinary") };
}
