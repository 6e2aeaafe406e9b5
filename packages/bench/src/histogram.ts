export const histogram = async (_args: readonly string[]): Promise<boolean> => true
