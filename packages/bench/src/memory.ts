export const memory = async (_args: readonly string[]): Promise<boolean> => true
