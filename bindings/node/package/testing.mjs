import testing from "./testing.cjs";

export const { Gateway } = testing;
