import { Engine } from "../../engine/engine.ts";
import { testBadInput } from "./bad_input.ts";
import { testConformance } from "./conformance.ts";
import { Harness } from "./harness.ts";

const tiny = {
  name: "tiny checkpoint",
  open: async (options = {}) => {
    const engine = await Engine.open("tests/data/smollm2-bf16", { numThreads: 1 });
    return new Harness(engine, options);
  },
};

testConformance(tiny);
testBadInput(tiny);
