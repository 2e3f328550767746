export function testConformance(_: unknown) {}
